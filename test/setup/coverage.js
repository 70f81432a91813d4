import { readdirSync } from 'node:fs'

// The files that all tests together must cover: lib, and not the examples that they start.
const lib = readdirSync('lib', { recursive: true }).filter(file => file.endsWith('.ts')).map(file => `lib/${file}`)

export default () => lib
