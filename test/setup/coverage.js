import { readdirSync } from 'node:fs'

// What the tests must cover, all of them together: lib, and not the examples that they start.
const lib = readdirSync('lib', { recursive: true }).filter(file => file.endsWith('.ts')).map(file => `lib/${file}`)

export default () => lib
