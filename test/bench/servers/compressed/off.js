import { serve } from './channel.js'

await serve(false)
