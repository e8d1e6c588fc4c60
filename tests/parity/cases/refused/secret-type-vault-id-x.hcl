target "default" {
  secret = ["type=vault,id=x"]
}
