variable "A" { type = tuple([list(string)]) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
