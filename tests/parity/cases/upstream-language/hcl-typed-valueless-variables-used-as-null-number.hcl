variable "N" {
  type = number
}
target "plain" { args = { n = N, other = "o" } }
target "false" { args = { n = N == null ? "none" : N } }
target "true" { args = { n = N == null ? N : "none", other = "o" } }
