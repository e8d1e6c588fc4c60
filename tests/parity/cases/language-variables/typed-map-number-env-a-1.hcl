variable "A" { type = map(number) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
