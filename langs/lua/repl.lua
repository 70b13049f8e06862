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
  -- What the user's __tostring does, or raises.
  local can, text = pcall(tostring, problem)
  if not can then text = rawequal(text, INTERRUPTED) and 'interrupted!' or 'an error of type ' .. type(problem) .. ' whose text cannot be had' end
  return { message = text, trace = traceback(text, 2) }
end

-- The chunk and the texts of its values: both are the user's code.
local function evaluate(chunk)
  local results = pack(chunk())
  if results.n == 0 or results.n == 1 and results[1] == nil then return nil end
  local shown = {}
  for i = 1, results.n do shown[i] = tostring(results[i]) end
  return table.concat(shown, '\t')
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
  local done, result = xpcall(evaluate, handle, chunk)
  sethook()
  if done then
    if result then report('value', result) end
    return 'ok'
  end
  problem = result
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
  if not done and status == INTERRUPTED then
    -- It came between the code and here.
    status = 'interrupted'
    report_error('Interrupt', 'interrupted!', false)
  elseif not done then
    report_error('Error', tostring(status), false)
    status = 'ok'
  end
  report('done', status)
end
