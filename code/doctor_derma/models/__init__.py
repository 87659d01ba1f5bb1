"""Networks: channel attention on timm backbones."""
