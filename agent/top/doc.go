// Package top shows what containers use of their limits and do each second, as
// a table or live on a terminal.
//
// What enters: the agent's answers (identity.StatsRow), keys and the size of the
// terminal. What leaves: cells of a table, or the lines of a screen. Rates, order,
// filter and lines are pure; only Run touches the terminal, and gives it back as
// it was however it ends. All text that a sandbox chose is escaped and bounded
// here before it becomes part of a cell.
package top
