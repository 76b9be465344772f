/**
 * Paths as text: resolved against the topology file's folder and compared, without a look at any
 * disk.
 *
 * @module
 */

/** `path` from `folder` (absolute), with `.`, `..` and double slashes taken out. */
export function resolvePath(folder: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${folder}/${path}`).split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Whether `inner` lies somewhere below the folder `outer`; both resolved. */
export function isInside(inner: string, outer: string): boolean {
  return inner.startsWith(outer === "/" ? outer : `${outer}/`) && inner !== outer;
}
