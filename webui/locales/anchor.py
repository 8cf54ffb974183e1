"""Strings of the Anchor panel: its fields and buttons. What it says while it works is in `anchor_messages`."""

from __future__ import annotations

from .anchor_messages import ALERTS
from .words import BESIDE, Five, element


__all__ = ["ALERTS", "LOCALES"]

LOCALES = {
    "dba_anchor_dataset_dir": element(
        label=Five("Data folder", "Папка с данными", "数据目录", "데이터 폴더", "データフォルダ"),
        info=Five(
            "Folder with dataset_info.json, inside the folders that the board may use.",
            "Папка с dataset_info.json, внутри папок, доступных доске.",
            "包含 dataset_info.json 的目录，须位于面板允许使用的目录内。",
            "dataset_info.json이 있는 폴더. 보드가 사용할 수 있는 폴더 안이어야 합니다.",
            "dataset_info.json があるフォルダ。ボードが使えるフォルダの中に限ります。",
        ),
    ),
    "dba_anchor_dataset": element(
        label=Five("General data", "Общие данные", "通用数据", "일반 데이터", "汎用データ"),
        info=Five(
            "Data sets that stand for what the model can do already; one or more.",
            "Наборы данных, отражающие то, что модель уже умеет; один или несколько.",
            "代表模型已有能力的数据集，一个或多个。",
            "모델이 이미 할 수 있는 것을 나타내는 데이터셋. 하나 이상.",
            "モデルがすでにできることを表すデータセット。1 つ以上。",
        ),
    ),
    "dba_anchor_preview_btn": element(
        value=Five("Preview data", "Просмотр данных", "预览数据", "데이터 미리보기", "データのプレビュー")
    ),
    "dba_anchor_prev_btn": element(value=Five("Back", "Назад", "上一页", "이전", "前へ")),
    "dba_anchor_next_btn": element(value=Five("Next", "Далее", "下一页", "다음", "次へ")),
    "dba_anchor_close_btn": element(value=Five("Close", "Закрыть", "关闭", "닫기", "閉じる")),
    "dba_anchor_stage": element(
        label=Five("How the data is read", "Как читать данные", "数据读取方式", "데이터 읽는 방식", "データの読み方"),
        info=Five(
            "sft: questions and answers in the chat template; pt: plain text.",
            "sft: вопросы и ответы в шаблоне чата; pt: сплошной текст.",
            "sft：按对话模板读取问答；pt：纯文本。",
            "sft: 채팅 템플릿의 질문과 답변, pt: 일반 텍스트.",
            "sft：チャットテンプレートの質問と回答、pt：プレーンテキスト。",
        ),
    ),
    "dba_anchor_samples": element(
        label=Five("Samples", "Примеры", "样本数", "샘플 수", "サンプル数"),
        info=Five(
            "The first so many of each data set; 0 takes all.",
            "Столько первых примеров каждого набора; 0 — все.",
            "每个数据集只取前若干条；0 表示全部。",
            "각 데이터셋에서 앞에서부터 이만큼. 0이면 전부.",
            "各データセットの先頭からこの数だけ。0 はすべて。",
        ),
    ),
    "dba_anchor_cutoff": element(
        label=Five("Cutoff length", "Длина обрезки", "截断长度", "최대 길이", "カットオフ長"),
        info=Five(
            "Tokens of a sample at most, 4 to 131072.",
            "Не более стольких токенов в примере, от 4 до 131072.",
            "每个样本的最大 token 数，4 到 131072。",
            "샘플당 최대 토큰 수, 4~131072.",
            "1 サンプルの最大トークン数、4～131072。",
        ),
    ),
    "dba_anchor_rank": element(
        label=Five("Rank", "Ранг", "秩", "랭크", "ランク"),
        info=Five(
            "Directions kept per matrix, from 1 to the smaller side of the largest matrix; more keeps more energy.",
            "Число направлений на матрицу, от 1 до меньшей стороны наибольшей матрицы; больше — точнее.",
            "每个矩阵保留的方向数，从 1 到最大矩阵的较短边；越大保留的能量越多。",
            "행렬마다 유지할 방향의 수. 1부터 가장 큰 행렬의 짧은 변까지. 클수록 에너지를 더 보존합니다.",
            "行列ごとに残す方向の数。1 から最大の行列の短辺まで。大きいほどエネルギーが残ります。",
        ),
    ),
    "dba_anchor_placement": element(
        label=Five("Accumulate on", "Где накапливать", "累加位置", "누적 위치", "累積先"),
        info=Five(
            "Where the mean gradient is kept, 4 bytes per parameter: device, host memory or disk; auto chooses.",
            "Где хранится средний градиент, 4 байта на параметр: устройство, память или диск; auto выбирает само.",
            "平均梯度的存放位置，每个参数 4 字节：设备、内存或磁盘；auto 自动选择。",
            "평균 기울기를 두는 곳, 파라미터당 4바이트: 장치, 호스트 메모리, 디스크. auto는 자동 선택.",
            "平均勾配の置き場所、1 パラメータ 4 バイト：デバイス、ホストメモリ、ディスク。auto は自動選択。",
        ),
    ),
    "dba_anchor_batch": element(
        label=Five("Batch size", "Размер пакета", "批处理大小", "배치 크기", "バッチサイズ"),
        info=Five(
            "Samples per step on each device, 1 to 1024.",
            "Примеров за шаг на каждом устройстве, от 1 до 1024.",
            "每个设备每步的样本数，1 到 1024。",
            "장치마다 한 스텝의 샘플 수, 1~1024.",
            "各デバイスの 1 ステップあたりのサンプル数、1～1024。",
        ),
    ),
    "dba_anchor_compute": element(
        label=Five("Compute type", "Тип вычислений", "计算类型", "계산 유형", "計算タイプ"),
        info=Five(
            "pure_bf16 also halves the memory of the weights.",
            "pure_bf16 вдвое уменьшает и память под веса.",
            "pure_bf16 还会使权重占用的内存减半。",
            "pure_bf16은 가중치 메모리도 절반으로 줄입니다.",
            "pure_bf16 は重みのメモリも半分になります。",
        ),
    ),
    "dba_anchor_more": element(label=Five("More settings", "Ещё настройки", "更多设置", "추가 설정", "詳細設定")),
    "dba_anchor_dtype": element(
        label=Five("Stored as", "Хранить как", "存储类型", "저장 형식", "保存形式"),
        info=Five(
            "Type of the anchor's numbers; int8 halves the files of bfloat16 for about 1 % error.",
            "Тип чисел якоря; int8 вдвое меньше bfloat16 при ошибке около 1 %.",
            "锚点数值的类型；int8 的文件是 bfloat16 的一半，误差约 1 %。",
            "앵커 수치의 형식. int8은 bfloat16의 절반 크기이며 오차는 약 1 %.",
            "アンカーの数値の型。int8 は bfloat16 の半分の大きさで、誤差は約 1 %。",
        ),
    ),
    "dba_anchor_check": element(
        label=Five(
            "Steps between checks",
            "Шагов между проверками",
            "检查间隔（步）",
            "확인 간격(스텝)",
            "確認間隔（ステップ）",
        ),
        info=Five(
            "Every so many steps a point of the convergence curve, 1 or more.",
            "Через столько шагов появляется точка кривой сходимости, от 1.",
            "每隔若干步在收敛曲线上记一个点，至少为 1。",
            "이 스텝마다 수렴 곡선에 점이 하나 추가됩니다. 1 이상.",
            "このステップごとに収束曲線に点が 1 つ増えます。1 以上。",
        ),
    ),
    "dba_anchor_stop_cosine": element(
        label=Five("Stop early at", "Остановить раньше при", "提前停止阈值", "조기 종료 기준", "早期終了のしきい値"),
        info=Five(
            "Cosine between the data halves, 0 to below 1; 0 reads all data.",
            "Косинус между половинами данных, от 0 до 1; 0 — прочитать все данные.",
            "两半数据之间的余弦，0 到 1（不含）；0 表示读完全部数据。",
            "데이터 두 절반 사이의 코사인, 0 이상 1 미만. 0이면 모든 데이터를 읽습니다.",
            "データの 2 つの半分の間のコサイン、0 以上 1 未満。0 はすべて読みます。",
        ),
    ),
    "dba_anchor_save": element(
        label=Five(
            "Steps between saves",
            "Шагов между сохранениями",
            "保存间隔（步）",
            "저장 간격(스텝)",
            "保存間隔（ステップ）",
        ),
        info=Five(
            "Every so many steps the state is saved for a resume, 1 or more.",
            "Через столько шагов сохраняется состояние для продолжения, от 1.",
            "每隔若干步保存一次可恢复的状态，至少为 1。",
            "이 스텝마다 재개를 위한 상태를 저장합니다. 1 이상.",
            "このステップごとに再開用の状態を保存します。1 以上。",
        ),
    ),
    "dba_anchor_with_curvature": element(
        label=Five("Record curvature", "Записать кривизну", "记录曲率", "곡률 기록", "曲率を記録"),
        info=Five(
            "Needed only by the variants “elastic” and “ewc”.",
            "Нужна только для вариантов «elastic» и «ewc».",
            "仅 “elastic” 和 “ewc” 变体需要。",
            "“elastic”과 “ewc” 변형에만 필요합니다.",
            "「elastic」と「ewc」方式でのみ必要です。",
        ),
    ),
    "dba_anchor_out": element(
        label=Five("New folder", "Новая папка", "新目录", "새 폴더", "新しいフォルダ"),
        info=Five(
            "Where the anchor goes; a new folder inside those that the board may use. Empty: named after the model.",
            "Куда записать якорь; новая папка внутри доступных доске. Пусто: по имени модели.",
            "锚点的写入位置；面板允许目录内的新目录。留空则按模型命名。",
            "앵커를 쓸 위치. 보드가 사용할 수 있는 폴더 안의 새 폴더. 비우면 모델 이름으로 만듭니다.",
            "アンカーの書き込み先。ボードが使えるフォルダ内の新しいフォルダ。空欄ならモデル名を使います。",
        ),
        # short: a field on a phone has room for one line of it
        placeholder=Five(
            "saves/anchors/…", "saves/anchors/…", "saves/anchors/…", "saves/anchors/…", "saves/anchors/…"
        ),
    ),
    "dba_anchor_overwrite": element(
        label=Five("Replace", "Заменить", "覆盖", "덮어쓰기", "置き換える"),
        info=Five(
            "Whether an anchor that is in that folder already is replaced at the end.",
            "Заменить ли в конце якорь, который уже есть в этой папке.",
            "结束时是否替换该目录中已有的锚点。",
            "그 폴더에 이미 있는 앵커를 끝에 교체할지 여부.",
            "そのフォルダに既にあるアンカーを最後に置き換えるか。",
        ),
    ),
    "dba_anchor_with_board": element(
        label=Five(
            "End with the board", "Завершить вместе с доской", "随面板结束", "보드와 함께 종료", "ボードと共に終了"
        ),
        info=Five(
            "Otherwise the run goes on when the board is closed, and a board started later shows it again.",
            "Иначе запуск продолжится после закрытия доски, и новая доска покажет его снова.",
            "否则面板关闭后任务会继续，之后启动的面板会重新显示它。",
            "아니면 보드를 닫아도 실행이 계속되고, 나중에 시작한 보드에 다시 표시됩니다.",
            "そうでなければボードを閉じても実行は続き、後で起動したボードに再び表示されます。",
        ),
    ),
    "dba_anchor_beside": element(
        label=BESIDE,
        info=Five(
            "Otherwise nothing starts while a training runs on the same device, whose memory they would share.",
            "Иначе запуск не начнётся, пока идёт обучение на том же устройстве: память у них общая.",
            "否则，当训练占用同一设备（共享显存）时不会开始。",
            "끄면 같은 장치에서 훈련이 실행되는 동안 시작하지 않습니다(메모리를 나눠 쓰기 때문입니다).",
            "オフの場合、同じデバイスで学習が実行されている間は開始しません（メモリを共有するため）。",
        ),
    ),
    "dba_anchor_start_btn": element(value=Five("Start", "Запустить", "开始", "시작", "開始")),
    "dba_anchor_stop_btn": element(value=Five("Stop", "Остановить", "停止", "중지", "停止")),
    "dba_anchor_resume_btn": element(value=Five("Resume", "Продолжить", "继续", "재개", "再開")),
    "dba_anchor_log_box": element(label=Five("Output", "Вывод", "输出", "출력", "出力")),
    "dba_anchor_local": element(
        label=Five(
            "Anchors on this machine",
            "Якоря на этой машине",
            "本机上的锚点",
            "이 컴퓨터의 앵커",
            "このマシンのアンカー",
        )
    ),
    "dba_anchor_refresh_btn": element(value=Five("Refresh", "Обновить", "刷新", "새로 고침", "更新")),
    "dba_anchor_pick": element(
        label=Five("Details of", "Подробности о", "查看详情", "자세히 보기", "詳細を見る"),
        info=Five("An anchor of the list.", "Якорь из списка.", "列表中的锚点。", "목록의 앵커.", "一覧のアンカー。"),
    ),
    "dba_anchor_hub_id": element(
        label=Five("Hub id", "Имя в хабе", "Hub 名称", "허브 ID", "Hub の ID"),
        info=Five(
            "owner/name or owner/name@revision on the Hugging Face hub; for private ones log in on the server.",
            "owner/name или owner/name@revision в хабе Hugging Face; для закрытых войдите на сервере.",
            "Hugging Face Hub 上的 owner/name 或 owner/name@revision；私有仓库请先在服务器上登录。",
            "Hugging Face 허브의 owner/name 또는 owner/name@revision. 비공개는 서버에서 로그인하세요.",
            "Hugging Face Hub の owner/name または owner/name@revision。非公開はサーバーでログインしてください。",
        ),
    ),
    "dba_anchor_pull_out": element(
        label=Five("Into folder", "В папку", "下载到目录", "받을 폴더", "保存先フォルダ"),
        info=Five(
            "A new folder; empty: saves/anchors/ and the name.",
            "Новая папка; пусто: saves/anchors/ и имя.",
            "新目录；留空：saves/anchors/ 加名称。",
            "새 폴더. 비우면 saves/anchors/ 아래에 이름으로.",
            "新しいフォルダ。空欄：saves/anchors/ の下に名前で。",
        ),
    ),
    "dba_anchor_pull_btn": element(value=Five("Download", "Скачать", "下载", "내려받기", "ダウンロード")),
}
