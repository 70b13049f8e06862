# The perl evaluator: runs what comes on descriptor 3, reports on descriptor 4. Code runs in the scope of what ran before it, so that
# variables of `my` stay: each execution is a string that ends in waiting for the next one.
package CobRepl;
use strict;
use warnings;
my $pid = $$;
our $status = 'ok';
open(my $commands, '<&=', 3) or die;
open(my $reports, '>&=', 4) or die;
for my $handle ($commands, $reports) { require Fcntl; fcntl($handle, Fcntl::F_SETFD(), Fcntl::FD_CLOEXEC()); }
binmode($_) for $commands, $reports;
binmode($_, ':encoding(UTF-8)') for *STDIN, *STDOUT, *STDERR;
STDOUT->autoflush(1);
STDERR->autoflush(1);
my $tail = "\n;\nCobRepl::finish(); while (defined(my \$CobRepl = CobRepl::next_code())) { CobRepl::begin(); eval \$CobRepl; CobRepl::failed(\$@); }";
my $count = 0;

BEGIN {
    *CORE::GLOBAL::exit = sub (;$) {
        my $code = @_ ? $_[0] : 0;
        CORE::exit($code) if $$ != $pid;
        die bless { code => $code }, 'CobRepl::Exit';
    };
}

sub report {
    my ($word, $text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    print $reports "$word ", length($text), "\n", $text;
    $reports->flush;
}

sub next_code {
    CORE::exit(0) if $$ != $pid;
    # Not by lines: messages would tell which line of this was read last.
    my ($line, $code) = ('', '');
    until ($line =~ /\n/) { sysread($commands, $line, 1, length $line) or CORE::exit(0) }
    my (undef, $size) = split ' ', $line;
    while (length $code < $size) { sysread($commands, $code, $size - length $code, length $code) or CORE::exit(0) }
    utf8::decode($code);
    $count++;
    return "package main; no strict; no warnings; use feature ':5.10'; use utf8;\n#line 1 \"(execution $count)\"\n$code$tail";
}

sub begin {
    $status = 'ok';
    $SIG{INT} = sub { die bless {}, 'CobRepl::Interrupt' };
}

sub finish {
    CORE::exit(0) if $$ != $pid;
    $SIG{INT} = sub { };
    STDOUT->flush;
    STDERR->flush;
    report('done', $status);
}

sub failed {
    my ($problem) = @_;
    $SIG{INT} = sub { };
    return unless defined $problem && (ref $problem || $problem ne '');
    if (ref $problem && ref($problem) eq 'CobRepl::Exit') {
        error('SystemExit', "$problem->{code}", 0, "exit $problem->{code}") if $problem->{code};
    } elsif (ref $problem && ref($problem) eq 'CobRepl::Interrupt') {
        error('Interrupt', 'interrupted', 0, 'interrupted');
        $status = 'interrupted';
    } else {
        my $text = "$problem";
        chomp $text;
        my $before = !ref $problem && $text =~ /^(?:syntax error at|Can't find string terminator|Unmatched|Missing right|.*\n(?:Execution of|.*had compilation errors)|.*had too many errors)/s;
        my ($first) = split /\n/, $text;
        my $name = ref $problem ? ref $problem : $before ? 'SyntaxError' : 'Error';
        (my $message = $first // '') =~ s/ at \(execution \d+\) line \d+\.?$// unless $before;
        $message //= $first;
        error($name, $message, $before ? 1 : 0, split /\n/, $text);
    }
    finish();
}

sub error { report('error', join("\0", map { my $t = $_; $t =~ tr/\0//d; $t } @_)) }

$SIG{INT} = sub { };
package main;
while (defined(my $CobRepl = CobRepl::next_code())) { CobRepl::begin(); eval $CobRepl; CobRepl::failed($@); }
