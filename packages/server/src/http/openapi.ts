/** What the generated document says besides its routes. */
export function openapi(version: string) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Cob',
      version,
      description:
        'Kernel sessions: isolated, stateful interpreters. Times in ms, memory in KB. Errors are problem documents (RFC 9457).',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    components: {
      securitySchemes: {
        bearer: { type: 'http' as const, scheme: 'bearer', description: '<accessKey>:<secretKey>' },
        signature: {
          type: 'apiKey' as const,
          in: 'header' as const,
          name: 'Authorization',
          description:
            'Sorna signMethod=HMAC-SHA256, credential=<accessKey>:<hex signature>, with Date and X-Sorna-Version',
        },
      },
    },
    security: [{ bearer: [] }, { signature: [] }],
  }
}
