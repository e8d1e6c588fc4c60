variable "A" { type = list(number) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
