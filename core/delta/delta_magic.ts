/**
 * What a delta begins with, for whoever has to tell one from other files before anything else is loaded.
 *
 * @module
 */

/** "CSDH" */
export const DELTA_MAGIC = 0x48445343;

/** Whether a file that begins like this is a delta of some version. */
export function isDelta(head: Uint8Array): boolean {
  return head.length >= 4 &&
    new DataView(head.buffer, head.byteOffset).getUint32(0, true) === DELTA_MAGIC;
}
