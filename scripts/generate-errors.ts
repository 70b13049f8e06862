import { ERRORS } from '../packages/server/src/errors.ts'

/** `docs/reference/errors.md`: every code a problem document may carry. */
export function errorsReference(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, title, detail }]) => `| \`${code}\` | ${status} | ${title} | ${detail} |`,
  )
  return `# Error codes

Generated from \`packages/server/src/errors.ts\` by \`npm run generate\`.

Every error is a problem document (RFC 9457) with \`type\`, \`title\`, \`status\`, \`detail\`, \`code\` and \`requestId\`. Programs
should look at \`code\`. User code that fails is not an error: its result says what happened.

| code | status | title | detail |
|---|---|---|---|
${rows.join('\n')}
`
}
