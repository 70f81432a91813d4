// Lets Node run TypeScript: `node --import ./test/setup/typescript.js FILE`. It costs a test file 0.1 s; a compiler
// that is loaded into each process costs more than a second. `npm run typecheck` checks the types.
import module from 'node:module'
import { load } from './typescript-hooks.js'

if (module.registerHooks === undefined) module.register('./typescript-hooks.js', import.meta.url)
else module.registerHooks({ load })
