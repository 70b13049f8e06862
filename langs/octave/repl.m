% The octave evaluator: runs what comes on descriptor 3, reports on descriptor 4. Values are shown as Octave shows them, on stdout.
1;

function __cob_report__(word, text)
  global __cob_reports__
  fflush(stdout);
  bytes = uint8(text);
  fprintf(__cob_reports__, "%s %d\n", word, numel(bytes));
  fwrite(__cob_reports__, bytes);
  fflush(__cob_reports__);
end

function __cob_error__(name, message, before, lines)
  __cob_report__("error", strjoin([{name, message, num2str(before)}, strsplit(lines, "\n")], char(0)));
end

function exit(code = 0)
  error("cob:exit", "%d", code);
end
function quit(code = 0, varargin)
  error("cob:exit", "%d", code);
end

function __cob_loop__()
  global __cob_commands__ __cob_status__
  while true
    line = fgetl(__cob_commands__);
    if !ischar(line)
      builtin("exit", 0);
    end
    parts = strsplit(line, " ");
    size = str2double(parts{2});
    code = "";
    if size > 0
      code = char(fread(__cob_commands__, size, "uint8=>uint8")');
    end
    __cob_status__ = "interrupted";
    unwind_protect
      __cob_run__(code);
    unwind_protect_cleanup
      % An interrupt comes through here, and would end this program.
      if strcmp(__cob_status__, "interrupted")
        __cob_error__("Interrupt", "interrupted", 0, "interrupted");
        __cob_report__("done", "interrupted");
        __cob_loop__();
      end
    end_unwind_protect
    __cob_report__("done", __cob_status__);
  end
end

function __cob_run__(code)
  global __cob_status__
  try
    evalin("base", code);
  catch problem
    if strcmp(problem.identifier, "cob:exit")
      if !strcmp(problem.message, "0")
        __cob_error__("SystemExit", problem.message, 0, ["exit " problem.message]);
      end
    else
      before = strncmp(problem.message, "parse error", 11);
      if before
        name = "SyntaxError";
      elseif isempty(problem.identifier)
        name = "error";
      else
        name = problem.identifier;
      end
      lines = ["error: " problem.message];
      for place = problem.stack'
        if strncmp(place.name, "__cob_", 6)
          break
        end
        lines = [lines sprintf("\n  at %s, line %d", place.name, place.line)];
      end
      __cob_error__(name, problem.message, before, lines);
    end
  end
  __cob_status__ = "ok";
end

global __cob_commands__ __cob_reports__
max_recursion_depth(100000);
page_screen_output(false);
page_output_immediately(true);
more off
__cob_commands__ = fopen("/proc/self/fd/3", "rb");
__cob_reports__ = fopen("/proc/self/fd/4", "wb");
__cob_loop__();
