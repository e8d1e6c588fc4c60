variable "A" { type = list(object({a=string})) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
