variable "A" {
  type = object({a=string})
  default = {a=1,b=2}
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
