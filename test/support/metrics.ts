/** What `/metrics` says: samples as they are written, `name{label="value"}`, and their values. */
export type Samples = ReadonlyMap<string, number>

export function parseMetrics(text: string): Samples {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [, sample = '', value] = /^(\S+?(?:\{.*\})?) (\S+)$/.exec(line) ?? []
      return [sample, Number(value)]
    }),
  )
}

export async function readMetrics(url: string): Promise<Samples> {
  return parseMetrics(await (await fetch(`${url}/metrics`)).text())
}

/** Every name that a query may use: those of the samples, and of what has none yet. */
export function namesOf(text: string): ReadonlySet<string> {
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)]
  return new Set(
    types.flatMap(([, name = '', type]) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  )
}
