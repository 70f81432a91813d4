import { DEFAULTS } from '../../lib/stream/options.ts'

// Loaded before a test (`--node-arg=--import=./test/setup/through-response.ts`): it runs with every frame going through the response.
DEFAULTS.directWrites = false
