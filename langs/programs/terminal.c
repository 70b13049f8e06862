// Linked to programs, so that their standard output is as at a terminal: a line at a time, and all of it before something is read.
// glibc does that for a stdin that is buffered by lines, too.
#ifdef __cplusplus
extern "C" {
#endif
typedef struct _IO_FILE FILE;
extern FILE *stdin, *stdout;
int setvbuf(FILE *stream, char *buffer, int mode, unsigned long size);
#ifdef __cplusplus
}
#endif

// 1: _IOLBF. Names of its own, as the program has all others.
__attribute__((constructor)) static void cob_as_at_a_terminal(void) {
  setvbuf(stdout, 0, 1, 0);
  setvbuf(stdin, 0, 1, 0);
}
