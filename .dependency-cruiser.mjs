// The ranks of ARCHITECTURE.md: imports go one way.
const server = 'packages/server/src'
const test = '\\.test\\.ts$'

/** `from` may import of our own code only what `to` matches. */
const only = (name, comment, from, to) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: test },
  to: { path: '^(packages|test|scripts)/', pathNot: to },
})

const leaves = `^${server}/(errors|make-folder|observe/)`
/** Every place that has a rank below. */
const places = `^${server}/((app|core|index|errors|config|data-folder|make-folder)\\.ts|(observe|channel|backend|store|access|langs|sessions|self-test|http)/)`

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Imports never form a circle.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'Every import leads somewhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'ranked',
      comment: 'A new place in the server gets a rank here first.',
      severity: 'error',
      from: { path: `^${server}/`, pathNot: [places, test] },
      to: {},
    },
    {
      name: 'composition-root',
      comment: 'Only app.ts and core.ts name concrete backends and stores.',
      severity: 'error',
      from: {
        path: '^packages/',
        pathNot: [`^${server}/((app|core)\\.ts|backend/local/|store/sqlite-)`, test],
      },
      to: { path: `^${server}/(backend/local/|store/sqlite-)` },
    },
    only(
      'server',
      'The server knows neither the command nor tests nor scripts.',
      '^packages/server/',
      '^packages/(server|protocol)/',
    ),
    only(
      'protocol-imports-nothing',
      'The wire schemas stand alone.',
      '^packages/protocol/',
      '^packages/protocol/',
    ),
    only(
      'leaves',
      'Errors, configuration and logging know nobody.',
      `^${server}/(errors|config|observe/|data-folder|make-folder)`,
      `^packages/protocol/|^${server}/(observe/|make-folder)`,
    ),
    only(
      'channel',
      'The channel knows the protocol only.',
      `^${server}/channel/`,
      `^packages/protocol/|^${server}/channel/|${leaves}`,
    ),
    only(
      'backend',
      'A backend knows no language, session or front.',
      `^${server}/backend/`,
      `^packages/protocol/|^${server}/backend/|${leaves}`,
    ),
    only(
      'store',
      'A store knows nobody above it.',
      `^${server}/store/`,
      `^packages/protocol/|^${server}/store/|${leaves}`,
    ),
    only(
      'access',
      'What keys may do: knows the store, and what a quota is.',
      `^${server}/access/`,
      `^packages/protocol/|^${server}/access/|^${server}/store/(store|key|usage)\\.ts|^${server}/sessions/quota\\.ts|${leaves}`,
    ),
    only(
      'langs',
      'Kernel types know the backend port only.',
      `^${server}/langs/`,
      `^packages/protocol/|^${server}/langs/|^${server}/backend/backend\\.ts|${leaves}`,
    ),
    only(
      'sessions',
      'Sessions know ports, the channel and kernel types; neither HTTP nor bubblewrap.',
      `^${server}/sessions/`,
      `^packages/protocol/|^${server}/(sessions|channel)/|^${server}/(backend/backend|store/(session-store|usage|patient-writer)|langs/lang)\\.ts|${leaves}`,
    ),
    only(
      'self-test',
      'The self-test is a user of sessions like any other.',
      `^${server}/self-test/`,
      `^packages/protocol/|^${server}/self-test/|^${server}/sessions/sessions\\.ts|^${server}/backend/check\\.ts|${leaves}`,
    ),
    only(
      'fronts',
      'A front calls sessions, and divides memory as they do; it reaches no backend and no channel.',
      `^${server}/http/`,
      `^packages/protocol/|^${server}/http/|^${server}/sessions/(sessions|files|event-log|terminals|holdings)\\.ts|^${server}/langs/lang\\.ts|^${server}/access/|^${server}/store/(store|key|audit|patient-writer)\\.ts|${leaves}`,
    ),
    only(
      'cli',
      'The command uses the server by its public names.',
      '^packages/cli/',
      '^packages/(cli|protocol)/|^packages/server/src/index\\.ts',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
      extensions: ['.ts', '.mjs', '.js'],
    },
  },
}
