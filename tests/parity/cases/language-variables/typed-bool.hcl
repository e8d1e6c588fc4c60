variable "A" { type = bool }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
