import { createRequire } from 'node:module'
import type Fastify from 'fastify'

const require = createRequire(import.meta.url)

/** Returns a fresh copy of Fastify in which the symbol with that description has another one. */
export function fastifyWithout (description: string): typeof Fastify {
  const isFastify = (path: string): boolean => /[/\\]node_modules[/\\]fastify[/\\]/.test(path)
  const loaded = Object.entries(require.cache).filter(([path]) => isFastify(path))
  for (const [path] of loaded) Reflect.deleteProperty(require.cache, path)
  try {
    const symbols = require('fastify/lib/symbols.js') as Record<string, symbol>
    const name = Object.keys(symbols).find(name => symbols[name]!.description === description)
    if (name === undefined) throw new Error(`Fastify has no symbol '${description}'`)
    symbols[name] = Symbol('renamed')
    return require('fastify') as typeof Fastify
  } finally {
    for (const path of Object.keys(require.cache).filter(isFastify)) Reflect.deleteProperty(require.cache, path)
    Object.assign(require.cache, Object.fromEntries(loaded))
  }
}
