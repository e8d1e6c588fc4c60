variable "A" { type = list(list(string)) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
