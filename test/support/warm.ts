import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 5

/** Resolves when the server at `url` has made all the sandboxes that it keeps ready, so that none is under way. */
export async function warmSettled(url: string): Promise<void> {
  for (;;) {
    const text = await (await fetch(`${url}/metrics`)).text()
    const sum = (name: string): number =>
      [...text.matchAll(new RegExp(`^${name}\\{.*\\} (\\d+)`, 'gm'))].reduce(
        (total, [, n]) => total + Number(n),
        0,
      )
    if (sum('cob_warm_sandboxes') === sum('cob_warm_wanted')) return
    await delay(POLL_MS)
  }
}
