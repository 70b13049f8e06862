# The ruby evaluator: runs what comes on descriptor 3, reports on descriptor 4.
module CobRepl
  COMMANDS = IO.for_fd(3, 'rb')
  REPORTS = IO.for_fd(4, 'wb')
  [COMMANDS, REPORTS].each { |io| io.close_on_exec = true }
  OWN = __FILE__

  def self.report(word, text)
    bytes = text.to_s.b
    $stdout.flush
    REPORTS.write("#{word} #{bytes.bytesize}\n", bytes)
    REPORTS.flush
  end

  def self.error(problem, before)
    trace = (problem.backtrace || []).reject { |line| line.start_with?(OWN) }
    first, *others = trace
    message = problem.message.to_s
    lines = before ? message.lines(chomp: true) : ["#{first}: #{message} (#{problem.class})", *others.map { |line| "\tfrom #{line}" }]
    report('error', [problem.class.name || problem.class.inspect, message, before ? '1' : '0', *lines].map { |text| text.delete("\0") }.join("\0"))
  end

  def self.run(code, name)
    trap('INT', 'DEFAULT')
    value = TOPLEVEL_BINDING.eval(code, name, 1)
    shown = value.nil? ? nil : value.inspect
    report('value', shown) if shown
    'ok'
  rescue SystemExit => problem
    report("error", ["SystemExit", problem.status.to_s, "0", "exit #{problem.status}"].join("\0")) unless problem.success?
    'ok'
  rescue Interrupt => problem
    error(problem, false)
    'interrupted'
  rescue SyntaxError => problem
    error(problem, problem.message.start_with?(name))
    'ok'
  rescue Exception => problem
    error(problem, false)
    'ok'
  ensure
    trap('INT') {}
  end

  def self.loop
    pid = Process.pid
    while (line = COMMANDS.gets)
      _, size, count = line.split
      code = COMMANDS.read(size.to_i).force_encoding('UTF-8')
      status = run(code, "(execution #{count})")
      exit!(0) if Process.pid != pid
      $stderr.flush
      report('done', status)
    end
  end
end

trap('INT') {}
$stdout.sync = $stderr.sync = true
$0 = 'ruby'
CobRepl.loop
