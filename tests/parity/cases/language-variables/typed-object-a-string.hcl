variable "A" { type = object({a=string}) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
