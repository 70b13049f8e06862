export * from './channel.ts'
export * from './kernel.ts'
export * from './key.ts'
export * from './lang.ts'
