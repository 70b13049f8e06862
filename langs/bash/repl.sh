# The bash evaluator: an interactive shell that reads this, and then what the driver sends, as its script; reports on descriptor 4.
# Interactive, so that SIGINT ends what runs and not the shell. One that reads a script believes that only after the first time.
eval 'kill -INT $$'
set +m +o history
PS1= PS2= PROMPT_COMMAND=
exec 2>&5 5>&-
__cob_read() { LC_ALL=C IFS= read -r -N "$1" -u 3 __cob_code; __cob_name="(execution $2)"; }
__cob_report() { local LC_ALL=C; printf '%s %d\n%s' "$1" "${#2}" "$2" >&4; }
__cob_error() { local LC_ALL=C size=$((${#1} + ${#2} + ${#3} + ${#4} + 3)); printf 'error %d\n%s\0%s\0%s\0%s' "$size" "$1" "$2" "$3" "$4" >&4; }
__cob_check() { __cob_problem=$("$BASH" -n -c "$__cob_code" 2>&1) && return; __cob_problem=${__cob_problem#*: }; __cob_error SyntaxError "${__cob_problem#-c: }" 1 "$__cob_problem"; return 1; }
__cob_finish() {
    # The shell breaks the line where it is interrupted.
    [ -z "${__cob_exit+set}" ] || { exec 2>&5 5>&-; [ "$__cob_exit" = 0 ] || __cob_error SystemExit "$__cob_exit" 0 "exit $__cob_exit"; unset __cob_exit; __cob_report done ok; return; }
    case $1 in 130) __cob_report done 'interrupted?' ;; *) __cob_report done ok ;; esac
}
exit() { [ "$BASHPID" = "$$" ] || builtin exit "$@"; __cob_exit=${1:-$?}; exec 5>&2 2>/dev/null; kill -INT $$; }
