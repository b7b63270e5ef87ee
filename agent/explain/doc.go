// Package explain says what the errors of containers in containers mean, and
// why a file shows as nobody's.
//
// What enters: the text of an error, or a file and the id maps of the
// containers around it. What leaves: catalogue entries, each with its cause, its
// fix and what package doctor finds of it on this node; or the ids of the file
// at every level. Text and files may be hostile: both are bounded, and whoever
// prints them must escape them. It changes nothing.
package explain
