variable "A" { type = object({a=string,b=number}) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
