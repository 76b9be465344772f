/**
 * What names of nodes, links, volumes and cascades look like. A file of its own, for whoever has to tell a
 * name from a path before anything else is loaded.
 *
 * @module
 */

/** Letters, digits, dots, dashes and underscores; begins with a letter or a digit; 63 at most. */
export const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
