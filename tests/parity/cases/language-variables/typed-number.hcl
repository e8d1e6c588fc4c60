variable "A" { type = number }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
