variable "ONE" { default = null }
variable "TWO" { default = null }
target "default" {
  args   = { a = ONE, b = "b" }
  labels = { "x.a" = TWO, "x.b" = "b" }
}
