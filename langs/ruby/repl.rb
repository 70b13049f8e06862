# The ruby evaluator: runs what comes on descriptor 3, reports on descriptor 4.
module CobRepl
  COMMANDS = IO.for_fd(3, 'rb')
  REPORTS = IO.for_fd(4, 'wb')
  [COMMANDS, REPORTS].each { |io| io.close_on_exec = true }
  OWN = __FILE__
  # Not the user's, which may do anything.
  NAME = Module.instance_method(:name)
  BACKTRACE = Exception.instance_method(:backtrace)

  def self.report(word, text)
    bytes = text.to_s.b
    $stdout.flush
    REPORTS.write("#{word} #{bytes.bytesize}\n", bytes)
    REPORTS.flush
  end

  def self.error(problem, before)
    trace = (BACKTRACE.bind_call(problem) || []).reject { |line| line.start_with?(OWN) }
    first, *others = trace
    message = message_of(problem)
    lines = before ? message.lines(chomp: true) : ["#{first}: #{message} (#{NAME.bind_call(problem.class)})", *others.map { |line| "\tfrom #{line}" }]
    report('error', [NAME.bind_call(problem.class) || 'an exception without a name', message, before ? '1' : '0', *lines].map { |text| text.delete("\0") }.join("\0"))
  end

  def self.message_of(problem)
    problem.message.to_s
  rescue Exception # of a method of the user's
    'its message cannot be had'
  end

  def self.shown(value)
    value.nil? ? nil : value.inspect
  rescue NoMethodError => problem
    # A BasicObject has no methods.
    raise unless (BasicObject === value) && !(Object === value) && problem.receiver.equal?(value)
    '#<BasicObject>'
  end

  def self.run(code, name)
    trap('INT', 'DEFAULT')
    value = TOPLEVEL_BINDING.eval(code, name, 1)
    text = shown(value)
    report('value', text) if text
    'ok'
  rescue SystemExit => problem
    report("error", ["SystemExit", problem.status.to_s, "0", "exit #{problem.status}"].join("\0")) unless problem.success?
    'ok'
  rescue Interrupt => problem
    error(problem, false)
    'interrupted'
  rescue SyntaxError => problem
    error(problem, message_of(problem).start_with?(name))
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
