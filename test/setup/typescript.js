// Lets Node run TypeScript: `node --import ./test/setup/typescript.js FILE`. It costs a test file 0.1 s, where compilers that
// check or wrap each process cost more than a second. Types are checked by `npm run typecheck`.
import { register } from 'node:module'

register('./typescript-hooks.js', import.meta.url)
