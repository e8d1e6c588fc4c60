variable "m" {
  default = { a = { name = "x", l = ["p", "q"] } }
}
variable "b" {
  default = "a"
}
variable "i" {
  default = 1
}

# Keys whose index is computed are references, without parentheses.
target "computed" {
  args = {
    m[b].name         = "an index"
    m.a.l[i]          = "an index at the end"
    m["${b}"].l[0]    = "a template"
    lower(m.a.name)   = "a call"
    "${m[b].name}-t"  = "in quotes"
    (m.a.l[0])        = "in parentheses"
  }
}

target "parentheses" {
  args = {
    m[("a")].name = "a constant in parentheses"
    m["a${""}"]["l"][1] = "a template"
  }
}

target "conditional" {
  args = {
    m[b].name == "x" ? "k" : "l" = "a condition"
    [m.a.name][0] = "a tuple"
    {a = "z"}.a = "an object"
  }
}
