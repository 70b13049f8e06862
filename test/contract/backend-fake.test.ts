import { createFakeBackend, type FakeSandbox } from '../support/fake-backend.ts'
import { createFakeEcho } from '../support/fake-echo.ts'
import { backendContract } from './backend.contract.ts'

const machines = new Map<string, Map<string, FakeSandbox>>()

backendContract('fake', {
  newPlace: () => {
    const place = String(machines.size)
    machines.set(place, new Map())
    return place
  },
  makeBackend: async (place) => createFakeBackend(machines.get(place), createFakeEcho),
  echo: { name: 'echo', argv: [], files: [] },
  broken: { name: 'broken', argv: [], files: [] },
})
