# The r evaluator: runs what comes on descriptor 3, reports on descriptor 4. As at R's prompt, visible values are printed; the last one
# is the value.
local({
  commands <- file("/proc/self/fd/3", "rb")
  reports <- file("/proc/self/fd/4", "wb")
  input <- file("stdin")
  open(input, "r")
  plots <- file.path(tempdir(), "cob-%03d.png")
  options(warn = 1, encoding = "UTF-8", browserNLdisabled = TRUE)
  options(device = function(...) grDevices::png(filename = plots, width = 800, height = 600, res = 110, type = "cairo"))

  bytes <- function(text) charToRaw(enc2utf8(text))
  send <- function(word, payload) {
    flush(stdout())
    writeBin(c(charToRaw(sprintf("%s %d\n", word, length(payload))), payload), reports)
    flush(reports)
  }
  fields <- function(texts) {
    pieces <- lapply(texts, function(text) c(bytes(text), as.raw(0)))
    utils::head(unlist(pieces), -1)
  }
  fail <- function(name, message, before, lines = message) {
    send("error", fields(c(name, message, if (before) "1" else "0", unlist(strsplit(lines, "\n", fixed = TRUE)))))
  }
  read_line <- function() {
    line <- raw(0)
    repeat {
      byte <- readBin(commands, "raw", 1)
      if (length(byte) == 0) base::quit("no", 0, FALSE)
      if (byte == as.raw(10)) return(rawToChar(line))
      line <- c(line, byte)
    }
  }
  to_base64 <- function(data) {
    digits <- c(LETTERS, letters, 0:9, "+", "/")
    padding <- (3 - length(data) %% 3) %% 3
    values <- matrix(c(as.integer(data), integer(padding)), nrow = 3)
    groups <- rbind(
      bitwShiftR(values[1, ], 2),
      bitwOr(bitwShiftL(bitwAnd(values[1, ], 3), 4), bitwShiftR(values[2, ], 4)),
      bitwOr(bitwShiftL(bitwAnd(values[2, ], 15), 2), bitwShiftR(values[3, ], 6)),
      bitwAnd(values[3, ], 63)
    )
    text <- digits[groups + 1]
    if (padding > 0) text[seq(length(text) - padding + 1, length(text))] <- "="
    paste(text, collapse = "")
  }
  show_plots <- function() {
    if (length(grDevices::dev.list()) > 0) grDevices::graphics.off()
    for (plot in Sys.glob(sub("%03d", "*", plots, fixed = TRUE))) {
      data <- readBin(plot, "raw", file.size(plot))
      unlink(plot)
      send("display", c(fields(c("image/png", to_base64(data)))))
      read_line()
    }
  }
  stop_with <- function(status) {
    stop(structure(class = c("SystemExit", "error", "condition"), list(message = as.character(status), call = NULL)))
  }
  own <- list(
    readline = function(prompt = "") {
      cat(prompt)
      line <- readLines(input, 1)
      if (length(line) == 0) "" else line
    },
    quit = function(save = "no", status = 0, runLast = FALSE) stop_with(status),
    q = function(save = "no", status = 0, runLast = FALSE) stop_with(status)
  )
  attach(own, name = "cob", warn.conflicts = FALSE)

  own_call <- quote(eval(expressions[[at]], globalenv()))
  run <- function(code) {
    name <- "Error"
    expressions <- tryCatch(
      parse(text = code, keep.source = TRUE, encoding = "UTF-8"),
      error = function(problem) {
        fail("SyntaxError", sub("^<text>:", "", conditionMessage(problem)), TRUE)
        NULL
      }
    )
    if (is.null(expressions)) return("ok")
    tryCatch({
      for (at in seq_along(expressions)) {
        result <- withCallingHandlers(withVisible(eval(expressions[[at]], globalenv())), warning = function(problem) {
          # One of the code itself: R would name the line above.
          if (!identical(conditionCall(problem), own_call)) return()
          message("Warning: ", conditionMessage(problem))
          invokeRestart("muffleWarning")
        })
        if (!result$visible) next
        # Graphics of some packages are drawn when they are printed.
        if (at < length(expressions)) print(result$value)
        else send("value", bytes(paste(utils::capture.output(print(result$value)), collapse = "\n")))
      }
      show_plots()
      "ok"
    }, interrupt = function(problem) {
      fail("Interrupt", "interrupted", FALSE)
      "interrupted"
    }, error = function(problem) {
      if (inherits(problem, "SystemExit")) {
        if (conditionMessage(problem) != "0") fail("SystemExit", conditionMessage(problem), FALSE)
        return("ok")
      }
      call <- conditionCall(problem)
      kind <- if (inherits(problem, "simpleError")) "Error" else class(problem)[1]
      from <- if (is.null(call) || identical(call, own_call)) "Error: "
        else paste0("Error in ", paste(deparse(call, nlines = 3), collapse = " "), ": ")
      fail(kind, conditionMessage(problem), FALSE, paste0(from, conditionMessage(problem)))
      show_plots()
      "ok"
    })
  }

  repeat {
    # Between executions an interrupt is of nothing.
    tryCatch({
      size <- as.integer(strsplit(read_line(), " ", fixed = TRUE)[[1]][2])
      code <- rawToChar(readBin(commands, "raw", size))
      Encoding(code) <- "UTF-8"
      status <- run(code)
      send("done", charToRaw(status))
    }, interrupt = function(problem) NULL)
  }
})
