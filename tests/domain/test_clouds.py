"""The cloud of a Speech endpoint, and endpoints without batch APIs."""

import pytest

from bridge.domain.clouds import CHINA, GOVERNMENT, PUBLIC, Cloud, cloud_of, takes_keys_only, wrong_speech_endpoint


@pytest.mark.parametrize(
    ("endpoint", "cloud", "keys_only"),
    [
        ("https://my-speech.cognitiveservices.azure.com", PUBLIC, False),
        ("https://my-speech.services.ai.azure.com", PUBLIC, False),
        ("https://westeurope.api.cognitive.microsoft.com", PUBLIC, True),
        ("https://my-speech.cognitiveservices.azure.us", GOVERNMENT, False),
        ("https://my-speech.services.ai.azure.us", GOVERNMENT, False),
        ("https://usgovvirginia.api.cognitive.microsoft.us", GOVERNMENT, True),
        ("https://my-speech.cognitiveservices.azure.cn", CHINA, False),
        ("https://chinaeast2.api.cognitive.azure.cn", CHINA, True),
        ("https://MY-SPEECH.CognitiveServices.Azure.US", GOVERNMENT, False),
        ("https://gateway.example.com/speech", PUBLIC, False),
        ("https://gateway.example.com:8443", PUBLIC, False),
        ("http://127.0.0.1:7073", PUBLIC, False),
        ("https://cognitiveservices.azure.us.example.com", PUBLIC, False),
    ],
)
def test_an_endpoint_belongs_to_a_cloud(endpoint: str, cloud: Cloud, keys_only: bool) -> None:
    assert cloud_of(endpoint) is cloud
    assert takes_keys_only(endpoint) is keys_only
    assert wrong_speech_endpoint(endpoint) is None


def test_each_cloud_has_its_scope() -> None:
    assert [each.scope for each in (PUBLIC, GOVERNMENT, CHINA)] == [
        "https://cognitiveservices.azure.com/.default",
        "https://cognitiveservices.azure.us/.default",
        "https://cognitiveservices.azure.cn/.default",
    ]


@pytest.mark.parametrize(
    ("endpoint", "right"),
    [
        ("https://my-speech.cognitiveservices.azure.com/sts/v1.0/issuetoken", PUBLIC),
        ("https://westeurope.api.cognitive.microsoft.com/sts/v1.0/issueToken", PUBLIC),
        ("https://my-speech.cognitiveservices.azure.com/avatar", PUBLIC),
        ("https://my-speech.cognitiveservices.azure.com/avatar/batchsyntheses", PUBLIC),
        ("https://my-speech.cognitiveservices.azure.com/speechtotext/v3.2", PUBLIC),
        ("https://westeurope.tts.speech.microsoft.com", PUBLIC),
        ("https://westeurope.stt.speech.microsoft.com", PUBLIC),
        ("https://westeurope.s2s.speech.microsoft.com", PUBLIC),
        ("https://westeurope.customvoice.api.speech.microsoft.com", PUBLIC),
        ("https://westeurope.tts.speech.microsoft.com/cognitiveservices/v1", PUBLIC),
        ("https://speech.microsoft.com/portal", PUBLIC),
        ("https://cognitiveservices.azure.com", PUBLIC),
        ("https://api.cognitive.microsoft.com", PUBLIC),
        ("https://a.b.cognitiveservices.azure.com", PUBLIC),
        ("https://portal.azure.com", PUBLIC),
        ("https://ai.azure.com/foundry", PUBLIC),
        ("https://westeurope.cris.ai", PUBLIC),
        ("https://management.azure.com/subscriptions/x", PUBLIC),
        ("https://gateway.example.com/sts/v1.0/issuetoken", PUBLIC),
        ("https://gateway.example.com/speech/avatar/operations", PUBLIC),
        ("https://usgovvirginia.tts.speech.azure.us", GOVERNMENT),
        ("https://usgovvirginia.api.cognitive.microsoft.us/sts/v1.0/issueToken", GOVERNMENT),
        ("https://chinaeast2.stt.speech.azure.cn", CHINA),
    ],
)
def test_an_endpoint_without_batch_apis_is_answered_with_the_right_form(endpoint: str, right: Cloud) -> None:
    output = wrong_speech_endpoint(endpoint)

    assert output is not None
    assert f"https://NAME.{right.ai_services}" in output
    assert f"https://REGION.{right.regional}" in output
