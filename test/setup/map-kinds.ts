import { Type as Type034 } from '@sinclair/typebox'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import { Type } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import type { EventSchema } from '../../lib/contract/data-type.ts'
import { withJsonSchema } from '../../lib/schema/vendor.ts'

/** A map of one kind of schemas: `note` is any string, `level` one of two, `order` an object. */
export type KindMap = Record<'note' | 'level' | 'order', EventSchema>

const orderSchema = {
  type: 'object',
  required: ['id', 'lines'],
  properties: { id: { type: 'integer' }, lines: { type: 'array', items: { type: 'string' } } }
} as const

/** The same map in each kind of schema, by the name of the kind. */
export const MAPS: Readonly<Record<string, KindMap>> = {
  'TypeBox 0.34': {
    note: Type034.String(),
    level: Type034.Union([Type034.Literal('low'), Type034.Literal('high')]),
    order: Type034.Object({ id: Type034.Integer(), lines: Type034.Array(Type034.String()) })
  },
  'TypeBox 1.x': {
    note: Type.String(),
    level: Type.Enum(['low', 'high']),
    order: Type.Object({ id: Type.Integer(), lines: Type.Array(Type.String()) })
  },
  'JSON Schema': { note: { type: 'string' }, level: { enum: ['low', 'high'] }, order: orderSchema },
  Zod: { note: z.string(), level: z.enum(['low', 'high']), order: z.object({ id: z.int(), lines: z.array(z.string()) }) },
  Valibot: {
    note: toStandardJsonSchema(v.string()),
    level: toStandardJsonSchema(v.picklist(['low', 'high'])),
    order: toStandardJsonSchema(v.object({ id: v.pipe(v.number(), v.integer()), lines: v.array(v.string()) }))
  },
  ArkType: {
    note: type('string'),
    level: type("'low' | 'high'"),
    order: type({ id: 'number.integer', lines: 'string[]' })
  },
  'Standard Schema with a JSON Schema': {
    note: withJsonSchema(v.string(), { type: 'string' }),
    level: withJsonSchema(v.picklist(['low', 'high']), { enum: ['low', 'high'] }),
    order: withJsonSchema(v.object({ id: v.pipe(v.number(), v.integer()), lines: v.array(v.string()) }), orderSchema)
  }
}
