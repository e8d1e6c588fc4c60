function "nothing" {
  params = []
  result = null
}

function "list" {
  params = [first]
  variadic_params = rest
  result = [first, rest]
}

target "default" {
  args = {
    of-null = try(jsonencode(list(null)), "refused")
    of-nothing = try(jsonencode(list(nothing())), "refused")
    variadic = try(jsonencode(list(1, null)), "refused")
    inside = try(jsonencode(list([null])), "refused")
  }
}
