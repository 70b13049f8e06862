-- The lua evaluator: runs what comes on descriptor 3, reports on descriptor 4. As in Lua's own prompt, a chunk that is an expression has
-- a value, and `local` ends with its chunk.
local commands = assert(io.open('/proc/self/fd/3', 'rb'))
local reports = assert(io.open('/proc/self/fd/4', 'wb'))
-- A signal would end the interpreter the second time; this file appears in its place, and is looked for now and then.
local FLAG = '/tmp/.cob-interrupt'
local LOOK_EVERY = 200000
local INTERRUPTED, EXIT = {}, {}
local pcall, load, tostring, debug, io, os, table, string, xpcall, error, select =
  pcall, load, tostring, debug, io, os, table, string, xpcall, error, select
local exit, remove, open, traceback, sethook, unpack, pack = os.exit, os.remove, io.open, debug.traceback, debug.sethook, table.unpack, table.pack

local function report(word, text)
  io.stdout:flush()
  reports:write(word, ' ', #text, '\n', text)
  reports:flush()
end

local function look()
  local file = open(FLAG, 'r')
  if file then
    file:close()
    remove(FLAG)
    error(INTERRUPTED, 0)
  end
end

function os.exit(code)
  EXIT.code = code
  error(EXIT, 0)
end

local function report_error(name, message, before, trace)
  local fields = { name, message, before and '1' or '0' }
  for line in (trace or message):gmatch('[^\n]+') do
    if not line:find('/repl.lua:', 1, true) and not line:find('[C]: in function \'xpcall\'', 1, true) then fields[#fields + 1] = line end
  end
  for i, text in ipairs(fields) do fields[i] = text:gsub('%z', '') end
  report('error', table.concat(fields, '\0'))
end

local function handle(problem)
  if problem == INTERRUPTED or problem == EXIT then return problem end
  local text = type(problem) == 'string' and problem or tostring(problem)
  return { message = text, trace = traceback(text, 2) }
end

local function run(code, name)
  local chunk = load('return ' .. code, name, 't')
  local problem
  if not chunk then chunk, problem = load(code, name, 't') end
  if not chunk then
    report_error('SyntaxError', problem, true)
    return 'ok'
  end
  sethook(look, '', LOOK_EVERY)
  local results = pack(xpcall(chunk, handle))
  sethook()
  if results[1] then
    if results.n > 1 then
      local shown = {}
      for i = 2, results.n do shown[#shown + 1] = tostring(results[i]) end
      if not (results.n == 2 and results[2] == nil) then report('value', table.concat(shown, '\t')) end
    end
    return 'ok'
  end
  problem = results[2]
  if problem == INTERRUPTED then
    report_error('Interrupt', 'interrupted!', false)
    return 'interrupted'
  elseif problem == EXIT then
    local code = problem.code
    if code ~= nil and code ~= true and code ~= 0 then report_error('SystemExit', tostring(code == false and 1 or code), false) end
    return 'ok'
  end
  report_error('Error', problem.message, false, problem.trace)
  return 'ok'
end

io.stdout:setvbuf('no')
while true do
  local line = commands:read('l')
  if not line then exit(0) end
  local size, count = line:match('^run (%d+) (%d+)$')
  local code = tonumber(size) == 0 and '' or commands:read(tonumber(size))
  local done, status = pcall(run, code, '=(execution ' .. count .. ')')
  sethook()
  if not done then
    -- The interrupt came between the code and here.
    status = 'interrupted'
    report_error('Interrupt', 'interrupted!', false)
  end
  report('done', status)
end
