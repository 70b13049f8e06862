export * from './channel.ts'
export * from './kernel.ts'
export * from './lang.ts'
