import assert from 'node:assert/strict'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { ConfigError, configReference, loadConfig } from './config.ts'

const refused = (environment: NodeJS.ProcessEnv, expected: RegExp): void => {
  assert.throws(
    () => loadConfig(environment),
    (error) => error instanceof ConfigError && expected.test(error.message),
  )
}

test('without any setting the server listens on loopback, port 8081', () => {
  const config = loadConfig({ HOME: '/home/me' })
  assert.deepEqual(
    [config.host, config.port, config.dataDir],
    ['127.0.0.1', 8081, '/home/me/.local/share/cob'],
  )
  assert.ok(Object.isFrozen(config))
})

test('an unknown COB_ name stops the start and the nearest is suggested', () => {
  refused({ COB_PROT: '1' }, /no setting COB_PROT\. Did you mean COB_PORT\?/)
  refused({ COB_SOMETHING_ELSE_ENTIRELY: '1' }, /no setting COB_SOMETHING_ELSE_ENTIRELY\.$/)
})

test('a bad value names the variable, the value and what it takes; a secret is not shown', () => {
  refused({ COB_PORT: 'http' }, /COB_PORT: "http" is not accepted; it takes a whole number from 0 to 65535\./)
  refused({ COB_PORT: '65536' }, /COB_PORT: "65536"/)
  refused({ COB_ALLOW_UNENFORCED_LIMITS: 'maybe' }, /takes 1 or 0/)
  refused({ COB_BOOTSTRAP_KEY: 'short' }, /COB_BOOTSTRAP_KEY: its value is not accepted/)
  refused({ COB_MASTER_KEY: 'ab12' }, /COB_MASTER_KEY: its value is not accepted; it takes 64 hexadecimal/)
  refused(
    { COB_DEFAULT_MEMORY_KB: '2000', COB_MAX_MEMORY_KB: '1000' },
    /COB_DEFAULT_MEMORY_KB is 2000, above COB_MAX_MEMORY_KB/,
  )
})

test('origins of pages are written as browsers send them, and certificates come with their keys', () => {
  const { corsOrigins } = loadConfig({ COB_CORS_ORIGINS: 'https://a.example.org, http://localhost:3000' })
  assert.deepEqual(corsOrigins, ['https://a.example.org', 'http://localhost:3000'])
  for (const bad of ['*', 'null', 'a.example.org', 'https://a.example.org/', 'https://A.example.org', ''])
    refused({ COB_CORS_ORIGINS: bad }, /COB_CORS_ORIGINS: .* is not accepted; it takes origins separated by/)
  refused({ COB_TLS_KEY: 'key.pem' }, /COB_TLS_CERT and COB_TLS_KEY go together/)
})

test('the collector of traces has the name that OpenTelemetry gave it', () => {
  const { otlpEndpoint } = loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' })
  assert.equal(otlpEndpoint, 'http://127.0.0.1:4318')
  assert.equal(loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }).otlpEndpoint, undefined)
  refused({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector' }, /OTEL_EXPORTER_OTLP_ENDPOINT: "collector" is not/)
  refused({ COB_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }, /no setting COB_OTLP_ENDPOINT/)
})

test('a file that is no JSON is named, and nothing of it is told', () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'cob-config-')), 'config.json')
  for (const content of ['{"masterKey": s3cret}', '{"key": "AK:s3cret"', 's3cret']) {
    writeFileSync(file, content)
    assert.throws(
      () => loadConfig({ COB_CONFIG: file }),
      (error) => {
        assert.ok(error instanceof ConfigError && error.message.includes(file))
        assert.match(error.message, /it is not valid JSON/)
        assert.ok(!`${error.message}${error.stack}${error.cause}`.includes('s3cret'), error.message)
        return true
      },
    )
  }
})

test('a file is read, and the environment wins over it', () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'cob-config-')), 'cob.json')
  writeFileSync(file, JSON.stringify({ port: 9000, maxKernels: 7 }))
  const config = loadConfig({ COB_CONFIG: file, COB_PORT: '0' })
  assert.deepEqual([config.port, config.maxKernels], [0, 7])
  writeFileSync(file, JSON.stringify({ prot: 9000 }))
  refused({ COB_CONFIG: file }, /no setting "prot"\. Did you mean port\?/)
  writeFileSync(file, JSON.stringify({ port: 'http', key: 'short' }))
  refused(
    { COB_CONFIG: file, COB_KEY: 'other' },
    /cob\.json, "port": "http" is not accepted.*\nCOB_KEY: its value is not/,
  )
  writeFileSync(file, '{')
  refused({ COB_CONFIG: file }, /cannot be read/)
  refused({ COB_CONFIG: '/nowhere' }, /COB_CONFIG names \/nowhere/)
})

test('the reference page lists every variable with its default', () => {
  assert.match(configReference(), /\| `COB_PORT` \| `8081` \|/)
  assert.match(configReference(), /\| `COB_DATA_DIR` \| \$XDG_DATA_HOME/)
})
