import { DEFAULTS } from '../../lib/stream/options.ts'

// Loaded before a test (`--node-arg=--import=./test/setup/through-response.ts`): every frame then is written by the
// response.
DEFAULTS.directWrites = false
