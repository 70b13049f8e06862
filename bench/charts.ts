import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Growth } from './rows.ts'

const SIZE = { width: 360, height: 200 }

/** SVG of each chart by its name. */
export async function drawGrowth({ sessions, output }: Growth): Promise<Record<string, string>> {
  const axis = (field: string, title: string, isLog: boolean) => ({
    field,
    type: 'quantitative' as const,
    title,
    scale: isLog ? { type: 'log' as const } : { zero: true },
  })
  const line = (
    values: object[],
    x: [string, string],
    y: [string, string],
    isLogY: boolean,
  ): TopLevelSpec => ({
    ...SIZE,
    background: 'white',
    data: { values },
    mark: { type: 'line', point: true },
    encoding: { x: axis(...x, true), y: axis(...y, isLogY) },
  })
  const xSessions: [string, string] = ['sessions', 'live sessions']
  return {
    'latency-by-sessions': await draw(line(sessions, xSessions, ['ms', '1+1, median, ms'], false)),
    'memory-by-sessions': await draw(
      line(sessions, xSessions, ['sessionMib', 'PSS of a session, MiB'], false),
    ),
    'time-by-output': await draw(
      line(output, ['bytes', 'bytes printed'], ['ms', 'until all is read, ms'], true),
    ),
  }
}

async function draw(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' })
  return `${await view.toSVG()}\n`
}
