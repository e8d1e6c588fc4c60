variable "A" { default = ["a"] }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
