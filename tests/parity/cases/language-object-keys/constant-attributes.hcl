variable "m" { default = { a = { name = "x", l = ["p", "q"] } } }
variable "b" { default = "a" }
target "default" { args = { m.a.name = "y" } }
