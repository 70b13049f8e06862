<?php
// The php evaluator: runs what comes on descriptor 3, reports on descriptor 4. Code runs in the global scope, where its variables stay.
namespace CobRepl {
    final class Interrupt extends \Exception {}
    final class Loop {
        public static $commands;
        public static $reports;
        public static $pid;
        public static function report(string $word, string $text): void {
            fwrite(self::$reports, $word . ' ' . strlen($text) . "\n" . $text);
        }
        public static function next(): ?array {
            do { $line = fgets(self::$commands); } while ($line === false && !feof(self::$commands));
            if ($line === false) return null;
            [, $size, $count] = explode(' ', trim($line));
            $code = '';
            while (strlen($code) < (int) $size) $code .= fread(self::$commands, (int) $size - strlen($code));
            return [$code, (int) $count];
        }
        /** A single expression, as which code without a semicolon is taken, is returned. */
        public static function prepare(string $code): string {
            $code = preg_replace('/^\s*<\?(php|=)?/', '', $code);
            foreach (\PhpToken::tokenize("<?php $code") as $token)
                if ($token->text === ';' || $token->text === '{' || $token->is(T_CLOSE_TAG)) return $code;
            $code = rtrim($code);
            if ($code === '') return '';
            try {
                \PhpToken::tokenize("<?php return $code;", TOKEN_PARSE);
                return "return $code;";
            } catch (\ParseError) {
                return "$code;";
            }
        }
        public static function show(mixed $value): void {
            if ($value === null) return;
            self::report('value', is_object($value) || is_resource($value) ? trim(print_r($value, true)) : @var_export($value, true));
        }
        public static function error(\Throwable $problem, bool $before): void {
            $place = fn($file, $line) => preg_match('/repl\.php\((\d+)\) : eval/', $file) ? "execution, line $line" : "$file, line $line";
            $lines = [get_class($problem) . ': ' . $problem->getMessage() . ' in ' . $place($problem->getFile(), $problem->getLine())];
            foreach ($problem->getTrace() as $frame) {
                if (($frame['function'] ?? '') === 'eval' || !isset($frame['file'])) break;
                $lines[] = '  at ' . ($frame['class'] ?? '') . ($frame['type'] ?? '') . $frame['function'] . '() in ' . $place($frame['file'], $frame['line']);
            }
            $fields = [get_class($problem), $problem->getMessage(), $before ? '1' : '0', ...$lines];
            self::report('error', implode("\0", array_map(fn($text) => str_replace("\0", '', $text), $fields)));
        }
        /** A warning as PHP tells of it, at its place in the execution. */
        public static function warn(int $number, string $message, string $file, int $line): bool {
            // PHP keeps it for error_get_last().
            if (!(error_reporting() & $number)) return false;
            $own = preg_match('/repl\.php\(\d+\) : eval/', $file);
            $kind = match ($number) {
                E_NOTICE, E_USER_NOTICE => 'Notice',
                E_DEPRECATED, E_USER_DEPRECATED => 'Deprecated',
                E_USER_ERROR => 'Fatal error',
                default => 'Warning',
            };
            fflush(STDOUT);
            fwrite(STDERR, "PHP $kind:  $message in " . ($own ? "execution" : $file) . " on line $line\n");
            if ($number === E_USER_ERROR) throw new \ErrorException($message, 0, $number, $file, $line);
            return true;
        }
        public static function done(string $status): void {
            if (getmypid() !== self::$pid) exit(0);
            fflush(STDOUT);
            self::report('done', $status);
        }
        public static function listen(bool $raises): void {
            pcntl_signal(SIGINT, $raises ? fn() => throw new Interrupt('interrupted') : function () {});
        }
    }
    // What /etc/php would load, if it is installed. Not in php.ini, which complains of those that are not.
    foreach (explode(' ', 'pdo xml dom bcmath calendar ctype curl exif fileinfo ftp gd gettext gmp iconv intl mbstring pdo_sqlite phar posix readline shmop simplexml sockets sqlite3 sysvmsg sysvsem sysvshm tokenizer xmlreader xmlwriter xsl zip') as $name)
        if (!extension_loaded($name) && file_exists(ini_get('extension_dir') . "/$name.so")) @dl($name);
    Loop::$commands = fopen('php://fd/3', 'r');
    Loop::$reports = fopen('php://fd/4', 'w');
    Loop::$pid = getmypid();
    pcntl_async_signals(true);
    Loop::listen(false);
    set_error_handler(Loop::warn(...));
}
namespace {
    while (($GLOBALS['__cob'] = \CobRepl\Loop::next()) !== null) {
        $__cob_status = 'ok';
        try {
            $__cob_code = \CobRepl\Loop::prepare($__cob[0]);
            \CobRepl\Loop::listen(true);
            $__cob_value = eval($__cob_code);
            \CobRepl\Loop::show($__cob_value);
        } catch (\CobRepl\Interrupt $__cob_problem) {
            $__cob_status = 'interrupted';
            \CobRepl\Loop::report('error', "Interrupt\0interrupted\x000\0interrupted");
        } catch (\ParseError $__cob_problem) {
            \CobRepl\Loop::error($__cob_problem, str_contains($__cob_problem->getFile(), 'repl.php('));
        } catch (\Throwable $__cob_problem) {
            \CobRepl\Loop::error($__cob_problem, false);
        }
        \CobRepl\Loop::listen(false);
        unset($__cob_code, $__cob_value, $__cob_problem);
        \CobRepl\Loop::done($__cob_status);
    }
}
